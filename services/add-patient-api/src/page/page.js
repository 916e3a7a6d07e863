// @ts-check
// Everything is shown as text, never as HTML, so that input stays text.

const add = form("add");
const find = form("find");
const answer = element("answer", HTMLElement);

useNewKey();
element("new-key", HTMLButtonElement).addEventListener("click", useNewKey);

add.addEventListener("submit", (event) => {
  event.preventDefault();
  const { given, surname, birthDate, key } = Object.fromEntries(new FormData(add));
  const body = JSON.stringify({ given, surname, ...(birthDate !== "" && { birthDate }) });
  const headers = { "content-type": "application/json", ...(key !== "" && { "idempotency-key": JSON.stringify(key) }) };
  void show("/patients", { method: "POST", headers, body });
});

find.addEventListener("submit", (event) => {
  event.preventDefault();
  void show(`/patients/${encodeURIComponent(input(find, "patientId").value.trim())}`, {});
});

/**
 * @param {string} path
 * @param {RequestInit} init
 */
async function show(path, init) {
  answer.textContent = "Waiting for the response …";
  const since = performance.now();
  try {
    const response = await fetch(path, init);
    const text = await response.text();
    const shown = ["location", "retry-after"].flatMap((name) => {
      const value = response.headers.get(name);
      return value === null ? [] : [`${name}: ${value}`];
    });
    const body = response.headers.get("content-type")?.includes("json") ? JSON.parse(text) : text;
    const status = `${response.status} ${response.statusText}, after ${Math.round(performance.now() - since)} ms`;
    answer.textContent = [status, ...shown, "", JSON.stringify(body, undefined, 2)].join("\n");
    if (response.status === 201) input(find, "patientId").value = body.patientId;
  } catch (error) {
    answer.textContent = `No response: ${String(error)}`;
  }
}

function useNewKey() {
  // Browsers have randomUUID() on https and localhost only
  input(add, "key").value = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}

/** @param {string} id */
function form(id) {
  return element(id, HTMLFormElement);
}

/**
 * @param {HTMLFormElement} within
 * @param {string} name
 */
function input(within, name) {
  const found = within.elements.namedItem(name);
  if (!(found instanceof HTMLInputElement)) throw new Error(`no input "${name}"`);
  return found;
}

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 */
function element(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`no element "${id}"`);
  return found;
}
