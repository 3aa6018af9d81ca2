// Signs a user up at the Firebase Auth emulator, gives it a plan, signs it in
// by a custom token, and writes what the emulator answered to the named file.
import { writeFileSync } from "node:fs";

const host = process.env.FIREBASE_AUTH_EMULATOR_HOST;

async function call(method, body) {
  const url = `http://${host}/identitytoolkit.googleapis.com/v1/accounts:${method}?key=any`;
  const headers = { "content-type": "application/json" };
  if (method === "update") headers.authorization = "Bearer owner";
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${method}: ${await response.text()}`);
  return response.json();
}

const encode = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");

const { localId } = await call("signUp", { returnSecureToken: true });
await call("update", { localId, customAttributes: JSON.stringify({ plan: "pro" }) });
const now = Math.floor(Date.now() / 1000);
const sdk = "firebase-auth-emulator@example.com";
const claims = {
  iss: sdk,
  sub: sdk,
  aud: "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit",
  uid: localId,
  iat: now,
  exp: now + 3600,
};
const customToken = `${encode({ alg: "none", typ: "JWT" })}.${encode(claims)}.`;
const { idToken } = await call("signInWithCustomToken", {
  token: customToken,
  returnSecureToken: true,
});
writeFileSync(process.argv[2], JSON.stringify({ localId, idToken, customToken }));
