// The form sends itself, shows what goes on, and the answer comes in without another page.
"use strict";

const root = document.documentElement;
const form = document.getElementById("choose");
const progress = document.getElementById("progress");
const inputs = [...form.querySelectorAll("input[type=file]")];
// How often somebody who was told to come again does so unasked.
const TRIES = 5;
// A picture that is too large is shrunk to this, pixels.
const LONGEST = 2048;
let sending = null;

root.classList.add("js");

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

// Telephones take pictures that are larger than what may be sent.
async function fitting(file) {
  if (file.size <= Number(form.dataset.mostBytes)) return file;
  try {
    const image = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, LONGEST / Math.max(image.width, image.height));
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

async function ask(file, signal) {
  const body = new FormData();
  // Not its name, which is nobody's business.
  body.append(inputs[0].name, await fitting(file), "picture");
  for (let tries = 1; ; tries++) {
    progress.textContent = "The machine is looking";
    const response = await fetch(form.action, { method: "POST", body, signal });
    const wait = Number(response.headers.get("Retry-After"));
    if (!wait || tries === TRIES) return await response.text();
    for (let left = wait; left > 0; left--) {
      if (left === wait) progress.textContent = "Many are asking; your turn comes soon";
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

function say(sentence) {
  const content = document.createElement("section");
  content.id = "answer";
  content.tabIndex = -1;
  const line = document.createElement("p");
  line.className = "trouble";
  line.setAttribute("role", "alert");
  line.textContent = sentence;
  content.append(line);
  show(content);
}

async function send(file) {
  sending?.abort();
  const mine = (sending = new AbortController());
  root.classList.add("busy");
  let page = null;
  try {
    page = new DOMParser().parseFromString(await ask(file, mine.signal), "text/html");
  } catch {
    if (mine.signal.aborted) return;
  }
  // First of all, for it may move what is below.
  progress.textContent = "";
  root.classList.remove("busy");
  const content = page?.getElementById("answer");
  if (content) {
    document.title = page.title;
    show(document.importNode(content, true));
  } else {
    say("The machine cannot be reached just now. Try again.");
  }
}

for (const input of inputs) {
  input.addEventListener("change", () => {
    const [file] = input.files;
    // The same picture may be sent twice.
    if (file) send(file).finally(() => (input.value = ""));
  });
}
form.addEventListener("submit", (event) => event.preventDefault());

// Where the file dialogue opens no camera, the page does; its picture is not mirrored any more.
const camera = document.getElementById("camera");
const video = camera.querySelector("video");

async function watch() {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    camera.showModal();
  } catch {
    say("The camera cannot be used. Choose a picture instead.");
  }
}

function shoot() {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((picture) => picture && send(picture), "image/jpeg", 0.92);
  camera.close();
}

const opener = form.querySelector(".camera");
opener.addEventListener("click", watch);
camera.querySelector(".shoot").addEventListener("click", () => video.videoWidth && shoot());
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

// Dropped or pasted pictures are as good as chosen ones.
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
