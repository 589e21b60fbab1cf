"""What every room may use: errors, files, random state, command lines."""
