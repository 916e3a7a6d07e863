import type { WriteStream } from "node:tty";
import type { ScoreUpdate } from "@amqp-idioms/contracts";
import { boardOf } from "./text.ts";

const eraseBelow = "\u001B[J";
/** Moves the cursor to the beginning of the line `lines` above. */
const up = (lines: number): string => (lines > 0 ? `\u001B[${lines}F` : "\u001B[G");
/** Otherwise wide characters or a narrow window would break a line in two. */
const withoutWrapping = (text: string): string => `\u001B[?7l${text}\u001B[?7h`;

/** A terminal with the board as its last lines. The log is written above the board and scrolls away. */
export class Terminal {
  readonly #stream: WriteStream;
  readonly #newest: () => readonly ScoreUpdate[];
  #hasBoard = false;
  #height = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param newest  returns what the board shows; called for each drawing */
  constructor(stream: WriteStream, newest: () => readonly ScoreUpdate[]) {
    this.#stream = stream;
    this.#newest = newest;
  }

  /** Draws the board, and redraws it when the window is resized. */
  open(): void {
    this.#hasBoard = true;
    this.#stream.on("resize", () => this.redraw());
    this.redraw();
  }

  /** Draws at most 20 times a second, however many updates there are. */
  redraw(): void {
    this.#timer ??= setTimeout(() => this.write(""), 50);
  }

  /** Writes complete lines above the board. */
  write(lines: string): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // Some terminals report 0. The cursor is in the last line
    const size = { columns: this.#stream.columns || 80, rows: (this.#stream.rows || 24) - 1 };
    const board = this.#hasBoard ? boardOf(this.#newest(), size) : [];
    const drawn = board.map((line) => `${line}\n`).join("");
    this.#stream.write(up(this.#height) + eraseBelow + lines + withoutWrapping(drawn));
    this.#height = board.length;
  }
}
