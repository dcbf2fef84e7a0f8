"""Serves a model over HTTP by the functions of handler.py:

    def load(directory): …           the model, from its directory, once
    def predict(model, request): …   the answer to a request, both as JSON has them; a ValueError is the client's fault

GET /health answers once the model is loaded, POST /predict answers requests.
"""

import contextlib
import os

import fastapi

import handler

loaded = {}


@contextlib.asynccontextmanager
async def lifespan(_):
    loaded["model"] = handler.load(os.environ["MODEL_DIR"])
    yield
    loaded.clear()


app = fastapi.FastAPI(title=os.environ.get("MODEL_TITLE", "model"), lifespan=lifespan)


@app.get("/health")
def health():
    return {"status": "ok"}


@app.post("/predict")
def predict(request: dict) -> dict:
    try:
        return handler.predict(loaded["model"], request)
    except ValueError as error:
        raise fastapi.HTTPException(status_code=422, detail=str(error)) from error
