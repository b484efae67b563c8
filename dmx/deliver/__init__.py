"""From a trained run to something others can use."""
