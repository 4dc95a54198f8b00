"""What AWS (or a white list) says of an instance."""
