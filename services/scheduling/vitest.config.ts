import { mergeConfig } from "vitest/config";
// @boundaries-ignore the settings that all workspaces share
import { servers } from "../../vitest.shared.ts";

// On a busy machine with two cores a new embedded database takes 15 s, and some tests start the service twice
export default mergeConfig(servers, { test: { testTimeout: 120_000 } });
