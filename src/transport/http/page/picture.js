// Pictures, from wherever they come, as the JPEGs that the service takes.

/** A larger one is made smaller: models see no more of it. */
const LONGEST_SIDE = 2048;
const AS_IT_IS = 4 << 20;
const QUALITY = 0.85;

function drawn(width, height, draw) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const paper = canvas.getContext("2d");
  // A JPEG cannot be seen through.
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  draw(paper, canvas);
  return new Promise((done, failed) => {
    canvas.toBlob((jpeg) => (jpeg ? done(jpeg) : failed(new Error("no picture"))), "image/jpeg", QUALITY);
  });
}

/** A JPEG as it is, any other picture drawn anew. */
export async function jpegOf(file) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name || "it"} is not a picture that this browser can read`);
  });
  if (file.type === "image/jpeg" && file.size <= AS_IT_IS) return file;
  return drawn(bitmap.width, bitmap.height, (paper, { width, height }) => paper.drawImage(bitmap, 0, 0, width, height));
}

/** One picture of a screen, a window or a tab that the visitor chooses. */
export async function captureScreen() {
  const stream = await navigator.mediaDevices.getDisplayMedia({ video: true });
  try {
    const video = document.createElement("video");
    video.muted = true;
    video.srcObject = stream;
    await video.play();
    return await drawn(video.videoWidth, video.videoHeight,
      (paper, { width, height }) => paper.drawImage(video, 0, 0, width, height));
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
}

/** A screen with a request, for whoever has none at hand. */
export async function example() {
  const text = "Marta Keller 10:04\nInes, could you send the Q3 figures to the Berlin office by Friday?\n"
    + "They go into the board pack, and Anke presents it next week.";
  const jpeg = await drawn(960, 240, (paper) => {
    paper.fillStyle = "#1b1f27";
    paper.font = "24px sans-serif";
    text.split("\n").forEach((line, at) => paper.fillText(line, 32, 64 + 48 * at));
  });
  return { app: "Huddle", window: "#finance", text, jpeg };
}

/** Its bytes, as JSON can have them. */
export async function base64(blob) {
  const url = await new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(blob);
  });
  return url.slice(url.indexOf(",") + 1);
}
