// Answers may come in another order than they were asked for: what was asked
// for before something that is known already is old.

export class Latest {
  #asked = 0;
  #known = 0;

  /**
   * Call it before asking, and what it returns with the answer.
   * @returns {() => boolean} whether the answer is to be taken: none that was asked for later has come
   */
  ask() {
    const turn = ++this.#asked;
    return () => {
      if (turn < this.#known) return false;
      this.#known = turn;
      return true;
    };
  }

  /** No answer to what was asked before is taken any more. */
  forget() {
    this.#known = ++this.#asked;
  }
}
