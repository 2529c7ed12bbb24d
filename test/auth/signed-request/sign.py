import base64, hashlib, hmac, secrets, time
from urllib.parse import urlsplit

def sign(key_id, secret, method, url, body=b""):
    parts = urlsplit(url)
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    timestamp, nonce = str(int(time.time())), secrets.token_hex(16)
    digest = "sha-256=:" + base64.b64encode(hashlib.sha256(body).digest()).decode() + ":"
    text = "\n".join(["gatewarden-hmac-sha256-v1", method, parts.netloc.lower(), target, timestamp, nonce, key_id, digest])
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return {"X-Timestamp": timestamp, "X-Nonce": nonce, "X-Key-Id": key_id, "X-Signature": signature, "Content-Digest": digest}
