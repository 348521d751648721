// Sends the form as soon as an image is chosen, and shows the answer on the same page.
"use strict";

const root = document.documentElement;
const form = document.getElementById("choose");
const progress = document.getElementById("progress");
const inputs = [...form.querySelectorAll("input[type=file]")];
// How often to try again when the server is busy.
const MAX_TRIES = 5;
// Images with too many bytes are shrunk to this many pixels.
const MAX_SIDE_PX = 2048;
let sending = null;

root.classList.add("js");

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

// Phone cameras take photos that exceed the size limit.
async function shrinkToLimit(file) {
  if (file.size <= Number(form.dataset.maxBytes)) return file;
  try {
    const image = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, MAX_SIDE_PX / Math.max(image.width, image.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(image.width * scale);
    canvas.height = Math.round(image.height * scale);
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    const smaller = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
    return smaller ?? file;
  } catch {
    return file;
  }
}

async function classify(file, signal) {
  const body = new FormData();
  // Under a neutral name: the real one may identify somebody.
  body.append(inputs[0].name, await shrinkToLimit(file), "image");
  for (let tries = 1; ; tries++) {
    progress.textContent = "The machine is looking at your image";
    const response = await fetch(form.action, { method: "POST", body, signal });
    const wait = Number(response.headers.get("Retry-After"));
    if (!wait || tries === MAX_TRIES) return await response.text();
    for (let left = wait; left > 0; left--) {
      if (left === wait) progress.textContent = "Many people are here right now. It will be your turn soon.";
      await pause(1);
      if (signal.aborted) throw new DOMException("", "AbortError");
    }
  }
}

function show(content) {
  const answer = document.getElementById("answer");
  answer.replaceWith(content);
  content.focus({ preventScroll: true });
  content.scrollIntoView({ block: "start" });
}

function showError(message) {
  const content = document.createElement("section");
  content.id = "answer";
  content.tabIndex = -1;
  const line = document.createElement("p");
  line.className = "error";
  line.setAttribute("role", "alert");
  line.textContent = message;
  content.append(line);
  show(content);
}

async function send(file) {
  sending?.abort();
  const controller = (sending = new AbortController());
  root.classList.add("busy");
  let page = null;
  try {
    page = new DOMParser().parseFromString(await classify(file, controller.signal), "text/html");
  } catch {
    if (controller.signal.aborted) return;
  }
  // Before scrolling to the answer: clearing this line moves what is below.
  progress.textContent = "";
  root.classList.remove("busy");
  const content = page?.getElementById("answer");
  if (content) {
    document.title = page.title;
    show(document.importNode(content, true));
  } else {
    showError("The machine cannot be reached right now. Please try again.");
  }
}

for (const input of inputs) {
  input.addEventListener("change", () => {
    const [file] = input.files;
    // Reset it, so that choosing the same image again triggers a change.
    if (file) send(file).finally(() => (input.value = ""));
  });
}
form.addEventListener("submit", (event) => event.preventDefault());

// Where the file dialogue opens no camera, the page does. The photo itself is not mirrored.
const camera = document.getElementById("camera");
const video = camera.querySelector("video");

async function openCamera() {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    camera.showModal();
  } catch {
    showError("The camera cannot be used. Please choose an image instead.");
  }
}

function takePhoto() {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((photo) => photo && send(photo), "image/jpeg", 0.92);
  camera.close();
}

const opener = form.querySelector(".camera");
opener.addEventListener("click", openCamera);
camera.querySelector(".shoot").addEventListener("click", () => video.videoWidth && takePhoto());
camera.querySelector(".cancel").addEventListener("click", () => camera.close());
camera.addEventListener("close", () => {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
});
if (!matchMedia("(hover: none) and (pointer: coarse)").matches) {
  navigator.mediaDevices?.enumerateDevices().then((devices) => {
    opener.hidden = !devices.some((device) => device.kind === "videoinput");
  });
}

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
