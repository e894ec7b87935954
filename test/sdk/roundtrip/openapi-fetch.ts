// What a client author writes with openapi-typescript and openapi-fetch. Run with the server's address as BASE_URL.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "../generated/openapi-typescript/api";

async function main(baseUrl: string): Promise<void> {
  const open = createClient<paths>({ baseUrl });
  const username = "openapi-fetch";
  const password = "Correct-Horse-9";

  const registered = await open.POST("/api/v1/users/", { body: { username, password, first_name: "Ann" } });
  assert(registered.data);
  const { id, auth_token } = registered.data;
  const path = { id };

  const client = createClient<paths>({ baseUrl, headers: { Authorization: `Token ${auth_token}` } });
  const profile = await client.GET("/api/v1/users/{id}/", { params: { path } });
  assert.deepEqual(profile.data, { id, username, first_name: "Ann", last_name: "", email: "" });

  const updated = await client.PATCH("/api/v1/users/{id}/", { params: { path }, body: { last_name: "Lee" } });
  assert.equal(updated.data?.last_name, "Lee");

  const refused = await client.PUT("/api/v1/users/{id}/", { params: { path }, body: { email: "nope" } });
  assert.equal(refused.response.status, 400);
  assert(refused.error && "email" in refused.error);
  assert.deepEqual(refused.error.email, ["Enter a valid email address."]);

  const login = await open.POST("/api-token-auth/", { body: { username, password } });
  assert(login.data);
  const second = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${login.data.token}` } });
  assert.equal((await second.POST("/api-token-logout/")).response.status, 204);
  const dead = await second.GET("/api/v1/users/me/");
  assert.equal(dead.response.status, 401);
  assert.deepEqual(dead.error, { detail: "Invalid token." });
}

main(process.env.BASE_URL ?? "http://127.0.0.1:8000").then(() => console.log("ok"));
