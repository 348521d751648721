// Sends an image as soon as it is chosen, shows what happens, and then the answer on the same page.
"use strict";

const root = document.documentElement;
const content = document.getElementById("content");
const waiting = document.getElementById("waiting");
const bar = waiting.querySelector("progress");
const preview = waiting.querySelector("canvas");
const failed = document.getElementById("failed");
// How often to try again when the server is busy.
const MAX_TRIES = 5;
// Images with too many bytes are shrunk to this many pixels.
const MAX_SIDE_PX = 2048;
const PREVIEW_SIDE_PX = 800;
const FILE_NAME = "machine-behind-the-mirror.jpg";
// What the page shows at first, and the last answer.
const start = [...content.childNodes];
let answer = null;
// The image that was sent last, and what stops sending it.
let image = null;
let sending = null;

root.classList.add("js");

const form = () => document.getElementById("choose");
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

function draw(bitmap, canvas, maxSide) {
  const scale = Math.min(1, maxSide / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

// Shows the image; returns it shrunk if it has more bytes than the server accepts, as photos may.
async function prepare(file) {
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    draw(bitmap, preview, PREVIEW_SIDE_PX);
    if (file.size <= Number(form().dataset.maxBytes)) return file;
    const canvas = draw(bitmap, document.createElement("canvas"), MAX_SIDE_PX);
    return (await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9))) ?? file;
  } catch {
    return file;
  }
}

function say(sentence) {
  document.getElementById("progress").textContent = sentence;
}

// Unlike fetch, this request says how much has been sent.
function post(body, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", form().action);
    request.upload.onprogress = ({ loaded, total }) => (bar.value = loaded / total);
    request.upload.onload = () => {
      bar.removeAttribute("value");
      say(waiting.dataset.looking);
    };
    request.onload = () => resolve(request);
    request.onerror = request.onabort = reject;
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

async function classify(file, signal) {
  const body = new FormData();
  // Under a neutral name: the real one may identify somebody.
  body.append(form().querySelector("input").name, await prepare(file), "image");
  for (let tries = 1; ; tries++) {
    if (signal.aborted) throw new Error("cancelled");
    say(waiting.dataset.sending);
    const response = await post(body, signal);
    const wait = Number(response.getResponseHeader("Retry-After"));
    if (!wait || tries === MAX_TRIES) return response.responseText;
    bar.removeAttribute("value");
    say(waiting.dataset.busy);
    await pause(wait);
  }
}

function wait(on) {
  content.hidden = on;
  waiting.hidden = !on;
  bar.removeAttribute("value");
  if (!on) {
    say("");
    preview.width = preview.height = 0;
  }
}

function show(nodes) {
  wait(false);
  answer = [...nodes];
  content.replaceChildren(...answer);
  // So that going back leads to the form, and not away.
  if (history.state !== "answer") history.pushState("answer", "", location.pathname + location.search);
  prepareShare();
  scrollTo(0, 0);
  content.querySelector("#answer").focus({ preventScroll: true });
}

addEventListener("popstate", ({ state }) => {
  // Links within the page have no state.
  const view = state === "answer" ? answer : location.hash ? null : start;
  if (!view || view[0].parentNode === content) return;
  sending?.abort();
  wait(false);
  content.replaceChildren(...view);
});

function fail(reason) {
  const view = failed.content.cloneNode(true);
  view.querySelector("[role=alert]").textContent = failed.dataset[reason];
  if (reason === "camera") view.querySelector(".again").remove();
  show([view]);
}

async function send(file) {
  sending?.abort();
  const { signal } = (sending = new AbortController());
  image = file;
  root.classList.add("sent");
  wait(true);
  scrollTo(0, 0);
  waiting.focus({ preventScroll: true });
  let page;
  try {
    page = new DOMParser().parseFromString(await classify(file, signal), "text/html");
  } catch {
    if (!signal.aborted) fail("unreachable");
    return;
  }
  if (signal.aborted) return;
  const view = page.getElementById("content");
  if (!view) return fail("unreachable");
  document.title = page.title;
  show(document.importNode(view, true).childNodes);
}

// The answer's picture as a file, to save and to share.
function pictureFile() {
  const [, data] = content.querySelector(".picture img").src.split(",");
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return new File([bytes], FILE_NAME, { type: "image/jpeg" });
}

function prepareShare() {
  const share = content.querySelector(".share");
  if (share) share.hidden = !navigator.canShare?.({ files: [pictureFile()] });
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(pictureFile());
  link.download = FILE_NAME;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Where the file dialogue opens no camera, the page does. The photo itself is not mirrored.
const camera = document.getElementById("camera");
const video = camera.querySelector("video");

async function openCamera() {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    camera.showModal();
  } catch {
    fail("camera");
  }
}

function takePhoto() {
  if (!video.videoWidth) return;
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((photo) => photo && send(photo), "image/jpeg", 0.92);
  camera.close();
}

camera.addEventListener("close", () => {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
});
if (!matchMedia("(hover: none) and (pointer: coarse)").matches) {
  navigator.mediaDevices?.enumerateDevices().then((devices) => {
    root.classList.toggle("webcam", devices.some((device) => device.kind === "videoinput"));
  });
}

const ACTIONS = {
  ".camera": openCamera,
  ".shoot": takePhoto,
  ".close": () => camera.close(),
  ".stop": () => {
    sending.abort();
    wait(false);
    form().querySelector("#pick").focus({ preventScroll: true });
  },
  ".again": () => send(image),
  ".save": save,
  // Fails when the visitor changes their mind.
  ".share": () => navigator.share({ files: [pictureFile()] }).catch(() => {}),
};

addEventListener("click", (event) => {
  const button = event.target.closest("button");
  for (const [name, act] of Object.entries(ACTIONS)) if (button?.matches(name)) act();
});

function sendChosen(input) {
  const [file] = input.files ?? [];
  if (!file) return;
  send(file);
  // So that choosing the same image again is a change.
  input.value = "";
}

addEventListener("change", (event) => sendChosen(event.target));
// An image may have been chosen before this script was loaded.
for (const input of form().querySelectorAll("input")) sendChosen(input);
addEventListener("submit", (event) => event.preventDefault());
prepareShare();

// Images can also be dropped or pasted.
addEventListener("dragover", (event) => {
  event.preventDefault();
  root.classList.add("over");
});
addEventListener("dragleave", (event) => event.relatedTarget ?? root.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  root.classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) send(file);
});
addEventListener("paste", (event) => {
  const [file] = event.clipboardData?.files ?? [];
  if (file) send(file);
});
