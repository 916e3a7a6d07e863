// @boundaries-ignore the settings that all workspaces share
import { servers } from "../../vitest.shared.ts";

export default servers;
