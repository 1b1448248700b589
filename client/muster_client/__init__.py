"""Talk to Muster: submit pictures, wait for the counts, verify callbacks."""

from muster_client.client import Client
from muster_client.errors import (
    MusterClientError,
    NotInTime,
    RequestRefused,
    ServiceUnreachable,
    SignatureInvalid,
)
from muster_client.models import (
    AreaCount,
    BulkResult,
    Dedup,
    ErrorNote,
    Fault,
    FoundObject,
    Images,
    ImageSize,
    Model,
    NewCamera,
    NewTask,
    QueuePlace,
    Recognition,
    Task,
    TaskPage,
    Upload,
    WorkerState,
)
from muster_client.webhooks import verify

__all__ = [
    "AreaCount",
    "BulkResult",
    "Client",
    "Dedup",
    "ErrorNote",
    "Fault",
    "FoundObject",
    "ImageSize",
    "Images",
    "Model",
    "MusterClientError",
    "NewCamera",
    "NewTask",
    "NotInTime",
    "QueuePlace",
    "Recognition",
    "RequestRefused",
    "ServiceUnreachable",
    "SignatureInvalid",
    "Task",
    "TaskPage",
    "Upload",
    "WorkerState",
    "verify",
]
