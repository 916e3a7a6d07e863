/** The commands of `npm run check`. `scripts/planted.ts` proves that each fails where it must. */
export const checks = {
  format: ["oxfmt", "--check", "."],
  lint: ["turbo", "run", "//#lint", "--output-logs=errors-only"],
  boundaries: ["turbo", "boundaries"],
  types: ["turbo", "run", "//#typecheck", "--output-logs=errors-only"],
  unused: ["knip"],
  documents: ["node", "scripts/docs.ts"],
  manifests: ["node", "scripts/kubernetes.ts"],
  api: ["turbo", "run", "amqp-kit#api", "--output-logs=errors-only"],
  repository: ["node", "scripts/repository.ts"],
  definitions: ["node", "packages/contracts/definitions.ts"],
} satisfies Record<string, [string, ...string[]]>;

export type CheckName = keyof typeof checks;
