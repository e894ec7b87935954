module.exports = {
  rollbook: {
    input: "../../openapi.yaml",
    output: { target: "generated/orval/api.ts", client: "fetch" },
  },
};
