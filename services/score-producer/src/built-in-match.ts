import type { Match } from "./football-json.ts";

/** The match that is played without a file or stdin: invented, with one of each kind of goal. */
export const builtInMatch: Match = {
  round: "Harbour Cup",
  home: "Old Mill Rovers",
  away: "Seaside United",
  goals: [
    { side: "away", scorer: "Ida Holm", minute: 12, stoppage: 0, kind: "goal" },
    { side: "home", scorer: "Rosa Pereira", minute: 31, stoppage: 0, kind: "penalty" },
    { side: "home", scorer: "Mette Lund", minute: 45, stoppage: 2, kind: "own goal" },
    { side: "away", scorer: "Nora Okafor", minute: 78, stoppage: 0, kind: "goal" },
    { side: "home", scorer: "Yuki Tanaka", minute: 90, stoppage: 4, kind: "goal" },
  ],
  result: [3, 2],
  hadExtraTime: false,
  shootOut: undefined,
};
