"""The application as servers import it: `uvicorn app.asgi:app`."""

from app.factory import create_app
from core.settings import load_settings

app = create_app(load_settings())
