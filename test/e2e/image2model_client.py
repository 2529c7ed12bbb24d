"""The Python lines of the Image2Model guide, with only URL and key changed, and a client that polls a job to its end."""

import os
import sys
import time

import requests

BASE_URL = os.environ["IMAGE2MODEL_URL"]


def check_status(headers, job="job_123"):
    """The lines of the guide, with the job and what they print as parameters."""
    response = requests.get(
        f"{BASE_URL}/api/v1/status/{job}",
        headers=headers
    )

    if response.status_code == 401:
        return "Authentication required"
    elif response.status_code == 403:
        return "Invalid API key"
    else:
        return response.json()


def guide_lines(key):
    assert check_status({}) == "Authentication required"
    assert check_status({"Authorization": "Bearer your_api_key_here"}) == "Invalid API key"
    missing = check_status({"Authorization": f"Bearer {key}"})
    assert missing["error"] is True and missing["error_code"] == "JOB_NOT_FOUND", missing
    print(f"without a key, with a wrong one, with a right one: {missing['message']}")


def make_model(key, image):
    """Uploads an image as an ordinary client does, asks for the status until the job has ended, and fetches the model."""
    headers = {"Authorization": f"Bearer {key}"}
    # The same key each time, as a client that repeats a request whose answer was lost.
    idempotent = {**headers, "Idempotency-Key": '"the-only-upload"'}
    uploads = []
    for _ in range(2):
        with open(image, "rb") as file:
            uploads.append(requests.post(
                f"{BASE_URL}/api/v1/upload",
                headers=idempotent,
                files=[("files", (os.path.basename(image), file, "image/jpeg"))],
                data={"face_limit": "2000"},
                timeout=30,
            ))
    started = time.monotonic()
    bodies = [upload.json() for upload in uploads]
    assert [upload.status_code for upload in uploads] == [202, 202], bodies
    assert bodies[0] == bodies[1], bodies
    assert uploads[1].headers["Idempotency-Replayed"] == "true", uploads[1].headers
    job = bodies[0]["job_id"]
    states = []
    while True:
        status = check_status(headers, job)
        if not states or states[-1] != status["status"]:
            states.append(status["status"])
        if status["status"] not in ("queued", "running"):
            break
        time.sleep(float(os.environ.get("POLL_SECONDS", "0.5")))
    assert status["status"] == "succeeded", status
    listed = requests.get(f"{BASE_URL}/api/v1/download/{job}/all", headers=headers).json()
    assert listed["total_files"] == 1, listed
    model = requests.get(f"{BASE_URL}{listed['download_urls'][0]}", headers=headers)
    assert model.status_code == 200 and model.content.startswith(b"glTF"), model.content[:40]
    took = time.monotonic() - started
    print(f"{' -> '.join(states)} in {took:.1f} s, {len(model.content)} bytes of {listed['files'][0]['filename']}")


guide_lines(os.environ["IMAGE2MODEL_KEY"])
make_model(os.environ["IMAGE2MODEL_KEY"], sys.argv[1])
