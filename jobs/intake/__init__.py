"""What the service reads from outside: uploaded zip archives, and URLs that users give."""
