"""The one way out to addresses that others choose: pictures and callbacks.

What is allowed stands in `addresses` and `urls`, names are looked up in `resolver`, `client` sends.
Nothing here knows tasks or rows, and nothing writes a url's query into a log or a message.
"""

from core.net.client import FetchedPicture, GuardedClient, PostReply
from core.net.resolver import NameServers, SystemResolver
from core.net.settings import NetSettings
from core.net.urls import CheckedUrl, UrlRules

__all__ = [
    "CheckedUrl",
    "FetchedPicture",
    "GuardedClient",
    "NameServers",
    "NetSettings",
    "PostReply",
    "SystemResolver",
    "UrlRules",
]
