import type { WriteStream } from "node:tty";
import type { ScoreUpdate } from "@amqp-idioms/contracts";
import { boardOf } from "./text.ts";

const eraseBelow = "\u001B[J";
/** To the beginning of the line that is so many above. */
const up = (lines: number): string => (lines > 0 ? `\u001B[${lines}F` : "\u001B[G");
/** Without it a line of wide characters, or a narrowed window, would break into two. */
const withoutWrapping = (text: string): string => `\u001B[?7l${text}\u001B[?7h`;

/** A terminal with the board as its last lines. What is logged goes above them, like any other output, and scrolls away. */
export class Terminal {
  readonly #stream: WriteStream;
  readonly #newest: () => readonly ScoreUpdate[];
  #hasBoard = false;
  #height = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param newest  what the board shows, asked at each drawing */
  constructor(stream: WriteStream, newest: () => readonly ScoreUpdate[]) {
    this.#stream = stream;
    this.#newest = newest;
  }

  /** Begins with the board, and draws it anew when the window changes. */
  open(): void {
    this.#hasBoard = true;
    this.#stream.on("resize", () => this.redraw());
    this.redraw();
  }

  /** Soon: a screen is drawn at most 20 times a second, however many updates there are. */
  redraw(): void {
    this.#timer ??= setTimeout(() => this.write(""), 50);
  }

  /** Writes complete lines above the board. */
  write(lines: string): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // Some terminals say 0; the last line is the cursor's
    const size = { columns: this.#stream.columns || 80, rows: (this.#stream.rows || 24) - 1 };
    const board = this.#hasBoard ? boardOf(this.#newest(), size) : [];
    const drawn = board.map((line) => `${line}\n`).join("");
    this.#stream.write(up(this.#height) + eraseBelow + lines + withoutWrapping(drawn));
    this.#height = board.length;
  }
}
