// The page of the service: uploads images, follows the job by its events, and shows the models.
// `EventSource` cannot send an API key, so the events are read with `fetch`.
const [form, key, files, cancel, progress, state, models] = [
  'form',
  'key',
  'files',
  'cancel',
  'progress',
  'state',
  'models',
].map((id) => document.getElementById(id));
const RETRY_MS = 1000;

const authorization = () => (key.value === '' ? {} : { Authorization: `Bearer ${key.value}` });

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  models.replaceChildren();
  const body = new FormData();
  for (const file of files.files) body.append('files', file);
  // If the response is lost, the same key makes a retry find this job and not start another.
  const headers = { ...authorization(), 'Idempotency-Key': `"${crypto.randomUUID()}"` };
  const response = await fetch('/api/v1/upload', { method: 'POST', body, headers });
  const upload = await response.json();
  if (!response.ok) {
    state.value = `${upload.error_code}: ${upload.message}`;
    return;
  }
  cancel.disabled = false;
  cancel.onclick = () => fetch(`/api/v1/status/${upload.job_id}`, { method: 'DELETE', headers: authorization() });
  await follow(upload.job_id);
  cancel.disabled = true;
});

/** Shows each event of the job until it has ended. After a lost connection, it continues with the last event it has seen. */
async function follow(job) {
  let lastId;
  for (;;) {
    try {
      const headers = { ...authorization(), ...(lastId === undefined ? {} : { 'Last-Event-ID': lastId }) };
      const response = await fetch(`/api/v1/status/${job}/events`, { headers });
      if (!response.ok && response.status < 500 && response.status !== 429) {
        state.value = (await response.json()).message;
        return;
      }
      for await (const { id, data } of eventsOf(response)) {
        if (await show(job, JSON.parse(data))) return;
        // Not before it is shown: if showing fails, the event is sent again.
        lastId = id;
      }
    } catch {
      // The connection was lost.
    }
    state.value = 'connecting again';
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** The events of a response, as the HTML standard defines them. */
async function* eventsOf(response) {
  if (!response.ok) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const fields = new Map(
        text
          .slice(0, end)
          .split('\n')
          .map((line) => line.split(/: ?(.*)/, 2)),
      );
      text = text.slice(end + 2);
      if (fields.has('data')) yield { id: fields.get('id'), data: fields.get('data') };
    }
  }
}

/** Returns true once the job has ended. */
async function show(job, status) {
  progress.value = status.progress ?? 0;
  const more = status.problem?.detail ?? (status.position === undefined ? status.message : `place ${status.position}`);
  state.value = more === undefined ? status.status : `${status.status}: ${more}`;
  if (status.status === 'succeeded') await list(job);
  return ['succeeded', 'failed', 'cancelled'].includes(status.status);
}

/** A link for each model. A link cannot send the key either, so the file is fetched when it is clicked. */
async function list(job) {
  const response = await fetch(`/api/v1/download/${job}/all`, { headers: authorization() });
  const { download_urls } = await response.json();
  for (const url of download_urls) {
    const item = document.createElement('li');
    const link = document.createElement('a');
    link.textContent = decodeURIComponent(url.split('/').at(-1));
    link.href = url;
    link.addEventListener('click', async (event) => {
      event.preventDefault();
      const file = await fetch(url, { headers: authorization() });
      const copy = document.createElement('a');
      copy.href = URL.createObjectURL(await file.blob());
      copy.download = link.textContent;
      copy.click();
      URL.revokeObjectURL(copy.href);
    });
    item.append(link);
    models.append(item);
  }
}
