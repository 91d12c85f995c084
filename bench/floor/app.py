"""The least that a Chalice app can do: answer a constant."""

from chalice.app import Chalice

app = Chalice(app_name="floor")


@app.route("/jobs/get-object-url")
def constant():
    return {"url": "https://example.com/"}
