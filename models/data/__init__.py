"""Training data: drawn data sets, files of known formats, and folders or zip files of users."""
