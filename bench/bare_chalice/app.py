"""The least that a Chalice app can do: return a constant."""

from chalice.app import Chalice

app = Chalice(app_name="bare-chalice")


@app.route("/jobs/get-object-url")
def constant():
    return {"url": "https://example.com/"}
