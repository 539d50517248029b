"""Prometheus metrics, one registry per server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Durations are in seconds, memory in bytes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "inference_requests", "Answers by task and code.", ("task", "code"), registry=self.registry
        )
        self.seconds = Histogram(
            "inference_request_seconds",
            "From the request's first byte to its answer.",
            ("task",),
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900),
            registry=self.registry,
        )
        self.waiting = Gauge("inference_waiting", "Requests that wait for the model.", registry=self.registry)
        self.running = Gauge("inference_running", "Requests in the model now.", registry=self.registry)
        self.batch = Histogram(
            "inference_batch_size", "Requests in one run.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )
        self.steps = Counter("inference_steps", "Denoising steps done.", registry=self.registry)
        self.cancelled = Counter("inference_cancelled", "Requests whose caller left.", registry=self.registry)
        self.interrupted = Counter("inference_interrupted", "Runs stopped in the middle.", registry=self.registry)
        self.embeddings = Counter(
            "inference_embeddings", "Prompts by cache result.", ("result",), registry=self.registry
        )
        self.ready = Gauge("inference_ready", "1 when the models are loaded.", registry=self.registry)
        self.weights = Gauge("inference_weight_bytes", "What the models weigh.", registry=self.registry)

    def render(self) -> bytes:
        return generate_latest(self.registry)
