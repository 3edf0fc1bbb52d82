// The example request, ready to be copied.

export function showEndpoint({ url, models }) {
  const base = `${url ?? location.origin}/v1`;
  const model = JSON.stringify(models[0] ?? "MODEL").replaceAll("'", "'\\''");
  document.getElementById("base-url").textContent = base;
  document.getElementById("curl").textContent =
    `curl ${base}/chat/completions \\
  -H 'Content-Type: application/json' \\
  -d '{"model": ${model},
       "messages": [{"role": "user", "content": "Say hello."}]}'`;
  document.getElementById("model-hint").hidden = models.length > 0;
}

export function enableCopying() {
  for (const button of document.querySelectorAll("[data-copies]")) {
    button.addEventListener("click", async () => {
      const copied = await copy(document.getElementById(button.dataset.copies));
      button.textContent = copied ? "Copied" : "Press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
}

// Browsers give the clipboard to secure origins only; elsewhere the text is selected and copied the old way.
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
