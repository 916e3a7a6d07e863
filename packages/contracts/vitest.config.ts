import { servers } from "../../vitest.shared.ts";

export default servers;
