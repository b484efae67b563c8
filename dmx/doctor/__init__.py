"""What `dmx doctor` looks at; it changes and locks nothing."""
