"""Vector spaces of pictures: components, clusters, steering and sampling."""
