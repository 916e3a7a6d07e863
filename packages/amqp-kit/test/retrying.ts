export const json = { content_type: "application/json" };
