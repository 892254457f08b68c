// Before anything is drawn: the theme that was chosen on this machine.
const chosenTheme = localStorage.getItem("podium-theme");
if (chosenTheme) document.documentElement.dataset.theme = chosenTheme;
