// What a client author writes with @hey-api/openapi-ts. Run with the server's address as BASE_URL.
import assert from "node:assert/strict";
import { createClient, createConfig } from "../generated/hey-api/client";
import { getCurrentUser, getUser, logIn, logOut, patchUser, registerUser, updateUser } from "../generated/hey-api";

async function main(baseUrl: string): Promise<void> {
  const open = createClient(createConfig({ baseUrl }));
  const username = "hey-api";
  const password = "Correct-Horse-9";

  const registered = await registerUser({ client: open, body: { username, password, first_name: "Ann" } });
  assert(registered.data);
  const { id, auth_token } = registered.data;
  const path = { id };

  const client = createClient(createConfig({ baseUrl, auth: auth_token }));
  const profile = await getUser({ client, path });
  assert.deepEqual(profile.data, { id, username, first_name: "Ann", last_name: "", email: "" });

  const updated = await patchUser({ client, path, body: { last_name: "Lee" } });
  assert.equal(updated.data?.last_name, "Lee");

  const refused = await updateUser({ client, path, body: { email: "nope" } });
  assert.equal(refused.response?.status, 400);
  assert(refused.error && "email" in refused.error);
  assert.deepEqual(refused.error.email, ["Enter a valid email address."]);

  const login = await logIn({ client: open, body: { username, password } });
  assert(login.data);
  const second = createClient(createConfig({ baseUrl, auth: login.data.token }));
  assert.equal((await logOut({ client: second })).response?.status, 204);
  const dead = await getCurrentUser({ client: second });
  assert.equal(dead.response?.status, 401);
  assert.deepEqual(dead.error, { detail: "Invalid token." });
}

main(process.env.BASE_URL ?? "http://127.0.0.1:8000").then(() => console.log("ok"));
