"""The client functions of the Point-E guide, with only URL and secret changed, called until the daily quota is spent."""

import os
import time

import requests

# Your configuration
POINT_E_URL = os.environ["POINT_E_URL"]
SECRET_KEY = os.environ["POINT_E_SECRET_KEY"]


def generate_3d_from_text(prompt, user_ip, user_id=None):
    headers = {
        "Authorization": f"Bearer {SECRET_KEY}",
        "X-Forwarded-For": user_ip,  # Forward the original user's IP
        "Content-Type": "application/json"
    }

    data = {
        "prompt": prompt,
        "user_id": user_id,
        "grid_size": 32
    }

    response = requests.post(
        f"{POINT_E_URL}/generate/text",
        headers=headers,
        json=data
    )

    if response.status_code == 429:
        # Rate limit exceeded
        error_data = response.json()
        return {
            "error": "rate_limit",
            "message": f"User has reached the limit of {error_data['detail']['limit']} generations today",
            "reset_time": error_data['detail']['reset_time']
        }

    return response.json()


def check_user_usage(user_ip):
    headers = {
        "Authorization": f"Bearer {SECRET_KEY}"
    }

    response = requests.get(
        f"{POINT_E_URL}/usage/{user_ip}",
        headers=headers
    )

    return response.json()


def main():
    user_ip = "203.0.113.7"
    for i in range(5):
        result = generate_3d_from_text(prompt="a red sports car", user_ip=user_ip, user_id="user123")
        assert result["success"] is True, result
        assert result["user_id"] == "user123", result
        model = requests.get(result["download_url"], headers={"Authorization": f"Bearer {SECRET_KEY}"})
        assert model.status_code == 200, model.status_code
        assert model.content.startswith(b"ply\nformat binary_little_endian 1.0\n"), model.content[:40]
        header = model.content[: model.content.index(b"end_header\n")].decode()
        assert f"element vertex {result['vertices']}\n" in header, header
        assert f"element face {result['faces']}\n" in header, header
        print(f"file {i + 1}: {len(model.content)} bytes, {result['vertices']} vertices, {result['faces']} faces")

    sixth = generate_3d_from_text(prompt="a red sports car", user_ip=user_ip, user_id="user123")
    assert set(sixth) == {"error", "message", "reset_time"}, sixth
    assert sixth["error"] == "rate_limit", sixth
    assert sixth["message"] == "User has reached the limit of 5 generations today", sixth
    assert 0 < sixth["reset_time"] - time.time() <= 86400, sixth
    print(f"sixth call: {sixth}")

    usage = check_user_usage(user_ip)
    assert (usage["used"], usage["limit"], usage["remaining"]) == (5, 5, 0), usage
    assert usage["ip"] == user_ip and usage["reset_time"] == sixth["reset_time"], usage
    print(f"User has {usage['remaining']} generations left today")


main()
