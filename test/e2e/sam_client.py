"""The guide's SecureSAMClient, with only URL and key changed."""

import json
import os
import sys

import requests


class SecureSAMClient:
    def __init__(self, base_url, api_key):
        self.base_url = base_url
        self.headers = {
            'X-API-Key': api_key,
            'User-Agent': 'SAM-Client/1.0'
        }

    def segment_file(self, image_path, filters=None):
        with open(image_path, 'rb') as f:
            files = {'file': f}
            data = {}
            if filters:
                data['filters'] = json.dumps(filters)

            response = requests.post(
                f"{self.base_url}/segment_file",
                headers=self.headers,
                files=files,
                data=data,
                timeout=300  # 5 minute timeout
            )

            if response.status_code == 429:
                raise Exception("Rate limit exceeded")
            elif response.status_code == 401:
                raise Exception("Invalid API key")

            response.raise_for_status()
            return response.json()


client = SecureSAMClient(os.environ['SAM_URL'], os.environ['SAM_KEY'])
image = sys.argv[1]
everything = client.segment_file(image)
bright = client.segment_file(image, {"mean_min": 140})
print(f"{everything['num_masks']} masks, {bright['num_masks']} of them bright, in {everything['processing_time']} s")
assert everything['success'] and everything['num_masks'] == everything['original_count']
assert 0 < bright['num_masks'] < everything['num_masks'] == bright['original_count']
assert bright['filters_applied'] == {"mean_min": 140}
assert all(mask['pixel_stats']['mean'] >= 140 for mask in bright['masks'])
try:
    SecureSAMClient(os.environ['SAM_URL'], 'not-a-valid-key').segment_file(image)
    raise SystemExit("a wrong key was accepted")
except Exception as error:
    assert str(error) == "Invalid API key", error
