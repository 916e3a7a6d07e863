/** A mutant is the product with a measure taken out. As data, in `chaos/mutants`: what is to be replaced by what, in which file. */

export interface MutantDeclaration {
  /** What it does wrong, as a sentence */
  what: string;
  patches: readonly PatchDeclaration[];
  /** Statements on the services' database, once their tables are there */
  sql?: readonly string[];
  /** Faults that bring it to light, in this order */
  faults: readonly string[];
}

interface PatchDeclaration {
  /** From the root of the repository */
  file: string;
  /** Stands in the file exactly once */
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

/** @throws Error when there is none of that name */
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
      throw new Error(`The mutant "${name}" looks for a text in ${file} that stands there ${found} times, not once.`);
    },
  }));
  return { ...mutant, name, patches };
}
