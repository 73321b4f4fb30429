// Sets the colours that were chosen before the first paint; everything else comes as a module.
(function () {
  try {
    const chosen = localStorage.getItem("dutiful-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // A browser that keeps nothing follows the system's colours.
  }
})();
