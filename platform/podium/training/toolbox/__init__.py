"""Training, the toolbox: the parts that built-in networks and the loop are made of; users may use them too."""
