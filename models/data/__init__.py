"""Images to learn from: drawn sets, files of known layouts, and folders of a user's own."""
