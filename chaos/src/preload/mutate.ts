/** Preloaded into each service in a mutant's run. Patches the sources that the mutant names while they are loaded. */
import { registerHooks } from "node:module";
import { mutantNamed } from "../mutant.ts";

const mutant = await mutantNamed(process.env["CHAOS_MUTANT"] ?? "");

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const patches = mutant.patches.filter((patch) => url === patch.url);
    if (patches.length === 0) return loaded;
    const written =
      typeof loaded.source === "string" ? loaded.source : new TextDecoder().decode(loaded.source ?? undefined);
    return { ...loaded, source: patches.reduce((text, patch) => patch.applyTo(text), written) };
  },
});
