"""Pipelines of a real model's size with random weights: `python -m tests.random_models sdxl FOLDER`.

The numbers are those of the published configurations: stabilityai/stable-diffusion-xl-base-1.0 and
black-forest-labs/FLUX.1-dev, config.json of each part.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from tests import tiny


def sdxl_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
        use_linear_projection=True,
    )


def flux_transformer() -> FluxTransformer2DModel:
    """Its defaults are FLUX.1's."""
    return FluxTransformer2DModel(guidance_embeds=True)


def _vae(latent_channels: int, **more: object) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=[128, 256, 512, 512],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        layers_per_block=2,
        latent_channels=latent_channels,
        sample_size=1024,
        **more,
    )


def _clip(kind: type[CLIPTextModel], hidden: int, layers: int, heads: int, projection: int) -> CLIPTextModel:
    """The vocabulary is the test tokenizer's."""
    return kind(
        CLIPTextConfig(
            bos_token_id=512,
            eos_token_id=513,
            pad_token_id=513,
            hidden_size=hidden,
            intermediate_size=4 * hidden,
            num_attention_heads=heads,
            num_hidden_layers=layers,
            vocab_size=514,
            projection_dim=projection,
        )
    )


@contextmanager
def _on_the_gpu() -> Iterator[None]:
    """Weights are made where they take seconds, in the type that the server loads them in."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            yield
    finally:
        torch.set_default_dtype(before)


def stable_diffusion_xl(folder: Path) -> None:
    tokenizer = tiny.clip_tokenizer(folder / "tokenizer")
    with _on_the_gpu():
        networks = {
            "unet": sdxl_unet(),
            "vae": _vae(4, scaling_factor=0.13025),
            "text_encoder": _clip(CLIPTextModel, 768, 12, 12, 768),
            "text_encoder_2": _clip(CLIPTextModelWithProjection, 1280, 32, 20, 1280),
        }
    StableDiffusionXLPipeline(
        **networks,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        scheduler=EulerDiscreteScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="leading"
        ),
    ).save_pretrained(folder)


def flux(folder: Path) -> None:
    with _on_the_gpu():
        networks = {
            "transformer": flux_transformer(),
            "vae": _vae(
                16, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1159, scaling_factor=0.3611
            ),
            "text_encoder": _clip(CLIPTextModel, 768, 12, 12, 768),
            "text_encoder_2": _t5(),
        }
    FluxPipeline(
        **networks,
        tokenizer=tiny.clip_tokenizer(folder / "tokenizer"),
        tokenizer_2=tiny.byte_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    ).save_pretrained(folder)


def _t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=32128,
            d_model=4096,
            d_kv=64,
            d_ff=10240,
            num_layers=24,
            num_heads=64,
            feed_forward_proj="gated-gelu",
        )
    )


BUILDERS: dict[str, Callable[[Path], object]] = {
    "sdxl": stable_diffusion_xl,
    "flux": flux,
    "tiny-sdxl": tiny.stable_diffusion_xl,
    "tiny-flux": tiny.flux,
}

if __name__ == "__main__":
    BUILDERS[sys.argv[1]](Path(sys.argv[2]))
