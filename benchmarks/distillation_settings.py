"""Settings of conditional distillation that the benchmarks share: the published weights of paired data, hinge loss."""

from ganpress.config.translation_section import FeatureDistillation


def paired_distillation(
    train_images: int, batch_size: int, learning_rate: float = 2e-4, bf16: bool = False
) -> FeatureDistillation:
    """GAN Compression of paired data (Li et al. 2020): L_recon times 100, L_distill times 1."""
    return FeatureDistillation(
        framework="gan_compression",
        train_images=train_images,
        batch_size=batch_size,
        learning_rate=learning_rate,
        discriminator_learning_rate=2e-4,
        beta1=0.5,
        objective="hinge",
        lambda_recon=100,
        lambda_distill=1,
        bf16=bf16,
    )
