"""Vector spaces of images: principal components, clusters, steering and sampling."""
