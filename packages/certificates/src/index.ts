export { createAuthority, loadAuthority } from "./authority.ts";
export type { Authority, CertificateRequest, Issued } from "./authority.ts";
