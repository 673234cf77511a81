// The least that a program in Bun can do: what starting costs at any rate.

console.log("hello");
