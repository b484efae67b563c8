"""What people read: leaderboard and comparison, as pure functions of stored results."""
