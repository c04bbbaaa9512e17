"""What the models with a latent space share, whatever trains them: the classes that their callers ask for."""

from torch import Tensor, nn


class LatentModel(nn.Module):
    """Decodes latent codes z (n, latent_dim), standard normal for samples, to images."""

    latent_dim: int

    def decode(self, z: Tensor) -> Tensor:
        """Decodes z (n, latent_dim) to images (n, channels, h, w) in [0, 1]."""
        raise NotImplementedError


class LatentAutoencoder(LatentModel):
    """A latent model that also encodes images, so that collections can be made in its latent space."""

    def encode(self, images: Tensor) -> Tensor:
        """Encodes images (n, channels, h, w) in [0, 1] as z (n, latent_dim)."""
        raise NotImplementedError
