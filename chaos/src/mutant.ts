/** A mutant is the product without one of its safety measures. `chaos/mutants` declares each as data: which text of which file is replaced. */

export interface MutantDeclaration {
  /** What the mutant does wrong, as a sentence */
  what: string;
  patches: readonly PatchDeclaration[];
  /** Statements that run on the services' database after the tables have been created */
  sql?: readonly string[];
  /** Faults that reveal it, in this order */
  faults: readonly string[];
}

interface PatchDeclaration {
  /** Path from the root of the repository */
  file: string;
  /** Must occur in the file exactly once */
  find: string;
  replace: string;
}

interface Patch {
  readonly url: string;
  applyTo(source: string): string;
}

export interface Mutant extends Omit<MutantDeclaration, "patches"> {
  readonly name: string;
  readonly patches: readonly Patch[];
}

/** @throws Error if no mutant has that name */
export async function mutantNamed(name: string): Promise<Mutant> {
  if (!/^[a-z-]+$/.test(name)) throw new Error(`"${name}" is not the name of a mutant.`);
  const { mutant }: { mutant: MutantDeclaration } = await import(`../mutants/${name}.ts`);
  const patches = mutant.patches.map(({ file, find, replace }) => ({
    file,
    find,
    replace,
    url: new URL(`../../${file}`, import.meta.url).href,
    applyTo(source: string): string {
      const found = source.split(find).length - 1;
      if (found === 1) return source.replace(find, () => replace);
      throw new Error(
        `The mutant "${name}" replaces a text of ${file} that occurs there ${found} times, not once: ${find}`,
      );
    },
  }));
  return { ...mutant, name, patches };
}
