"""A GPU inference server: one container that answers SageMaker, Vertex AI, Azure ML, Cloud Run and your own machine."""

__version__ = "0.1.0"
