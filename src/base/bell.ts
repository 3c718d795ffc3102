/** Lets one part tell another that there is work, whichever of them is built first. */
export interface Bell {
  ring(): void;
  /** Who listens; one only. Rings before this are not kept: a listener looks once when it starts. */
  answer(listener: () => void): void;
}

/** Makes a bell that nobody listens to yet. */
export function makeBell(): Bell {
  let listener: () => void = () => undefined;
  return {
    ring: () => listener(),
    answer: (given) => {
      listener = given;
    },
  };
}
